"""The queue manager: the active window, sites, schedule, bounces."""
