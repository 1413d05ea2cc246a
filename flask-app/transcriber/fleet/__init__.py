"""Several machines over one PostgreSQL: tickets by Procrastinate, fleet workers, and what web nodes see of them."""
