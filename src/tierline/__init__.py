"""Communications for distributed energy resources: one node program for every level, from market to inverter."""
