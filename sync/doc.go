// Package shiftsync keeps a Kafka topic in step with the shifts of When I Work.
//
// The newest version of each shift that a pass has seen arrives in the topic, and stays the last one of its key,
// however the worker, the registry, Kafka or the API fail meanwhile and however many workers run. What did not change
// is not sent again, save batches whose acknowledgement or remembering was lost.
//
// One rule gives it, intend → publish → remember:
//
//   - A [Store] remembers, for each shift, the [Version] that the broker acknowledged last.
//   - Before a batch is handed to the [Publisher], its records stand in the store as intents.
//   - After the acknowledgement, one atomic step ends the intents of what was acknowledged and remembers it.
//
// What differs from what is remembered is published. An intent that no batch in hand will end is sent again, before
// anything newer of its shift is. Retry, restart, takeover and buffering through an outage are all this one act.
//
// Why not less? To remember first loses what fails to be published. To remember afterwards without an intent loses a
// revert: A → B is published, its answer is lost, the shift goes back to A, A is what is remembered, and the topic
// ends on B.
//
// A version that cannot be published is set aside, which is remembered beside what was acknowledged. Where there are
// [DeadLetters], the same step leaves a letter for them in the store, which waits there until they have acknowledged it.
//
// Several workers may run. The lease ([Leases]) makes one of them the owner; a [Term], new with every takeover,
// makes void what an older owner, or the same one before its last trouble, still has under way in the store; the
// publisher's epoch does so at the broker. All three are needed, and a test for each shows what is lost without it.
//
// What a source does not list any more may have been deleted, or moved, or be hidden, or the answer may be wrong. So a
// pass compares with what is remembered only an answer that was read whole, asks for each missing shift by itself, and
// believes nothing but the source's own word that there is none. A deletion is then a version like any other: it is
// intended, published as a tombstone, and remembered.
//
// [Worker.RunOnce] is one pass, [Worker.Run] is passes with a wait between. The pass itself is one function to read
// from top to bottom. [Source], [Encoder], [Publisher] and [Store] are the ports to the outside.
package shiftsync
