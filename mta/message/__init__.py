"""Messages: header scanning, trace fields, delivery status notifications."""
