"""A web page that shows the map and the answers, and takes queries (viser)."""
