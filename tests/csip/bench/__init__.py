"""The other side of every row: a server and a client written from the standard alone, with nothing of ours in them."""
