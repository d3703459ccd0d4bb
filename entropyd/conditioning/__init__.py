"""From tested samples to blocks of full entropy, with an account of every bit (SP 800-90B section 3.1.5)."""
