"""Tables of whatever an address is looked up in: files, databases, directories, web servers."""
