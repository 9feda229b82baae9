"""Networks of other libraries behind our own interface; each library is imported when its network is built."""
