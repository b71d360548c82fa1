"""The mta command. Nothing here imports Twisted: start-up time is what people feel."""
