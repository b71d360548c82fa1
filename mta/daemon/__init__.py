"""The processes of the daemon: one that does all, or a supervisor and its workers. `mta/service.py` starts it."""
