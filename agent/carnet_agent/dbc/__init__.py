"""From DBC and mapping files to the plan that says where in which frame each signal lies."""
