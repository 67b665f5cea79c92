"""Which indicators would hit good mail, and are kept with the reason but match nothing."""
