"""Who a store is."""
