//! Killed at every single position: each record of the journal, each effect on platform and router, each push. In memory, with
//! the daemon's own code; `e2e` does a sample with real processes.

use crate::sim::documents::{App, BLUE_GREEN, CANARY, RECREATE, ROLLING};
use crate::sim::positions::dies_everywhere;
use crate::sim::world::Moment;

macro_rules! killed {
    ($($before:ident $after:ident: $strategy:expr, $replicas:literal, $next:literal;)*) => {$(
        #[test]
        fn $before() {
            dies_everywhere(App::new("web", $strategy, $replicas).hooked(), $next, Moment::Before);
        }
        #[test]
        fn $after() {
            dies_everywhere(App::new("web", $strategy, $replicas).hooked(), $next, Moment::After);
        }
    )*};
}

killed! {
    fault_01_rolling fault_02_rolling: ROLLING, 4, "g2";
    fault_01_recreate fault_02_recreate: RECREATE, 2, "g2";
    fault_01_blue_green fault_02_blue_green: BLUE_GREEN, 2, "g2";
    fault_01_canary fault_02_canary: CANARY, 3, "g2";
    fault_01_rolling_back_what_crashes fault_02_rolling_back_what_crashes: ROLLING, 4, "c2";
    fault_01_recreate_back_what_never_gets_ready fault_02_recreate_back_what_never_gets_ready: RECREATE, 2, "n2";
    fault_01_blue_green_back_what_answers_with_errors fault_02_blue_green_back_what_answers_with_errors: BLUE_GREEN, 2, "e2";
    fault_01_canary_back_what_answers_with_errors fault_02_canary_back_what_answers_with_errors: CANARY, 3, "e2";
    fault_01_canary_back_what_fails_its_hook fault_02_canary_back_what_fails_its_hook: CANARY, 3, "h2";
}
