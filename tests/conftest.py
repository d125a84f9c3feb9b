"""What every test may rely on, however and wherever the tests were started."""

import signal

from hypothesis import HealthCheck, settings

# In a background job of a shell SIGINT is ignored, and children inherit that: Ctrl-C could not be tried there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure of the program; hangs are bounded by pytest's timeout.
settings.register_profile("trainlet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("trainlet")
