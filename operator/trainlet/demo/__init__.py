"""What `trainlet demo` trains: a program and its data. Nothing in trainlet imports it; nodes run it as a file."""
