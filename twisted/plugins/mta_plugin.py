"""Tell twistd of its `mta` command. Nothing of the package is imported here: twistd reads this at every start."""

from twisted.application.service import ServiceMaker

mta = ServiceMaker("mta", "mta.tap", "A store-and-forward mail transfer agent.", "mta")
