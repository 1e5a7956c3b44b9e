"""Legacy sessions: who talks to which upstream session, across many connections."""
