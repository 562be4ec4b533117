-- Removes a queue with all that is known of it.
redis.call('UNLINK', QUEUE, DEAD, IDS, LATER, BODIES, HIDDEN, RECEIVED, NUMBERS, LATELY)
redis.call('PUBLISH', WAKE, 'q')
return 1
