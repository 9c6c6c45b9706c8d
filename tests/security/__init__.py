"""What an attacker, a careless client or a talkative provider would try."""
