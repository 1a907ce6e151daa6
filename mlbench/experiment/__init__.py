"""From a composed config to a run: checked, built, started; and what the families' runners share."""
