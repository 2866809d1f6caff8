"""Networks: plain modules that know nothing of attacks, and the ways in for the user's own."""
