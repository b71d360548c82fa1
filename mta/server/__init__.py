"""The SMTP listeners: LineReceiver shells over the sans-I/O session."""
