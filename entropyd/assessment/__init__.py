"""How much entropy a receiver has at its site (SP 800-90B section 3.1), and the report that says so."""
