"""SMTP without I/O: grammar, replies, decoders and the state machines of server and client."""
