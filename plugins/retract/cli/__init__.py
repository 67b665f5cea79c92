"""What people do at a shell: ``python -m retract …``."""
