"""What every test may rely on, however the tests were started."""

import signal

# In a background job of a shell SIGINT is ignored, and children inherit that: Ctrl-C could not be tried there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
