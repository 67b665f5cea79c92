"""What goes wrong with mail services: seeded and repeatable, for both of them.

Which call is hit depends on the seed, the mailbox, the message and how many times that call
was made before: not on the order in which threads happen to come.
"""
