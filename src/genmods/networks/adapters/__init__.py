"""Adapters of networks of other libraries; each library is imported when its network is built."""
