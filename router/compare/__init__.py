"""What a change of a policy means, in words and in money: ``sluice policy diff``."""
