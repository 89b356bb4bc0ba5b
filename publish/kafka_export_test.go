package publish

// NextSequence is open to tests because two thousand million records are too many to get to its end.
var NextSequence = nextSequence
