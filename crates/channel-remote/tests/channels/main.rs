//! One suite for everything that keeps channels: the node's memory, its store, and each broker. Servers are real ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

/// The cases of a module for each of these places. What their channels' names begin with tells them from those of other modules.
macro_rules! suite {
    ($module:ident, $prefix:literal; $($place:ident),*: $cases:tt) => { $( mod $place { suite!(@ $module $prefix $place $cases); } )* };
    (@ $module:ident $prefix:literal $place:ident ($($case:ident,)*)) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            crate::$module::$case(&crate::support::Place::$place(concat!($prefix, stringify!($case)))).await;
        }
    )* };
}

mod conformance;
mod consumers;
mod encrypted;
mod histories;
mod multicast;
mod outages;
mod particular;
mod refusals;
mod support;
mod topics;

suite!(conformance, ""; sqlite, postgres, kafka, nats, redis: (
    each_message_goes_to_one_consumer_in_order,
    what_is_not_acknowledged_in_time_is_given_out_again,
    a_message_stays_hidden_as_long_as_was_asked,
    another_node_goes_on_where_one_has_ended,
    what_one_node_has_given_out_another_can_settle,
    a_message_that_is_refused_is_given_again_or_is_a_dead_letter,
    what_was_given_to_nobody_cannot_be_settled,
    a_message_that_fails_too_often_is_a_dead_letter,
    dead_letters_come_in_pages_and_go_back_by_name,
    a_dead_letter_whose_message_waits_again_is_not_sent_again,
    a_delayed_message_comes_later,
    a_message_with_an_id_that_waits_is_not_sent_again,
    who_waits_for_a_message_is_given_the_next,
    no_acknowledged_message_is_lost_or_given_twice,
    channels_of_other_names_and_namespaces_are_others,
    each_subscriber_is_given_each_message_once_from_its_place_on,
    subscribers_that_wait_are_all_told,
    a_topic_is_read_by_position,
    a_page_of_large_messages_ends_early_and_the_next_goes_on,
    next_asked_again_under_its_key_is_the_same_message,
    a_send_asked_again_under_its_key_is_the_same_message,
    what_cannot_be_is_refused_precisely,
));

// Nothing of a channel in memory is left after its node.
suite!(conformance, ""; memory: (
    each_message_goes_to_one_consumer_in_order,
    what_is_not_acknowledged_in_time_is_given_out_again,
    a_message_stays_hidden_as_long_as_was_asked,
    what_is_in_memory_ends_with_the_node,
    what_one_node_has_given_out_another_can_settle,
    a_message_that_is_refused_is_given_again_or_is_a_dead_letter,
    what_was_given_to_nobody_cannot_be_settled,
    a_message_that_fails_too_often_is_a_dead_letter,
    dead_letters_come_in_pages_and_go_back_by_name,
    a_dead_letter_whose_message_waits_again_is_not_sent_again,
    a_delayed_message_comes_later,
    a_message_with_an_id_that_waits_is_not_sent_again,
    who_waits_for_a_message_is_given_the_next,
    no_acknowledged_message_is_lost_or_given_twice,
    channels_of_other_names_and_namespaces_are_others,
    each_subscriber_is_given_each_message_once_from_its_place_on,
    subscribers_that_wait_are_all_told,
    a_topic_is_read_by_position,
    a_page_of_large_messages_ends_early_and_the_next_goes_on,
    next_asked_again_under_its_key_is_the_same_message,
    a_send_asked_again_under_its_key_is_the_same_message,
    what_cannot_be_is_refused_precisely,
));

// A channel at SQS has no topic, and its messages are settled by receipts.
suite!(conformance, ""; sqs: (
    each_message_goes_to_one_consumer_in_order,
    what_is_not_acknowledged_in_time_is_given_out_again,
    a_message_stays_hidden_as_long_as_was_asked,
    another_node_goes_on_where_one_has_ended,
    a_message_that_is_refused_is_given_again_or_is_a_dead_letter,
    what_was_given_to_nobody_cannot_be_settled,
    a_message_that_fails_too_often_is_a_dead_letter,
    dead_letters_come_in_pages_and_go_back_by_name,
    a_delayed_message_comes_later,
    a_message_with_an_id_that_waits_is_not_sent_again,
    who_waits_for_a_message_is_given_the_next,
    no_acknowledged_message_is_lost_or_given_twice,
    channels_of_other_names_and_namespaces_are_others,
    a_send_asked_again_under_its_key_is_the_same_message,
    what_cannot_be_is_refused_precisely,
    what_one_node_has_given_out_another_can_settle_by_its_receipt,
    where_there_is_no_topic_each_of_its_operations_says_so,
));
