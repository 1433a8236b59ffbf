//! The rows of the contract that hold for every lesson. `testkit::every_lesson!(BIN)` in a
//! lesson's tests runs them all against its own binary; `bare_lesson!` those that hello keeps.
//! The rows that take many seconds are in `tests/slow/main.rs`, for all lessons at once.

mod hostile;
mod limits;
mod start;
mod stop;

pub use hostile::*;
pub use limits::*;
pub use start::*;
pub use stop::*;

/// Makes a test of each row, in `mod every_lesson`.
#[macro_export]
macro_rules! every_lesson {
    ($binary:expr) => {
        $crate::bare_lesson!(
            $binary,
            texts_are_typed,
            wire_shows_both_ways,
            messages_are_in_the_readers_language,
            connect_and_trace_are_405,
            options_of_all_is_204,
            hosts_are_checked,
            pages_of_other_sites_write_nothing,
            an_announced_length_over_the_limit_is_413_at_once,
            a_request_after_a_body_that_nobody_reads_is_not_swallowed,
            what_is_in_flight_is_finished,
            a_second_signal_ends_at_once,
            signals_during_the_start_are_the_end,
            idle_clients_do_not_hold_up_the_end,
            a_closed_terminal_is_the_end,
            under_nohup_a_closed_terminal_is_not_the_end,
        );
    };
}

/// The rows that hold for hello too, which is written without the shared accept loop; and
/// those that are named.
#[macro_export]
macro_rules! bare_lesson {
    (@ $binary:expr, $($row:ident)*) => {
        $(#[test]
        fn $row() {
            $crate::every_lesson::$row($binary);
        })*
    };
    ($binary:expr $(, $more:ident)* $(,)?) => {
        mod every_lesson {
            $crate::bare_lesson!(
                @ $binary,
                listens_on_loopback_alone
                says_the_host_it_was_given
                cannot_start
                a_closed_standard_output_costs_no_answer
                head_is_get_without_the_body
                running_out_of_files_is_not_the_end
                hostile_requests_end_nothing
                silent_clients_keep_nobody_out
                $($more)*
            );
        }
    };
}

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LAST_GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
