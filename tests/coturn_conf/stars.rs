//! Every option with a star in `COTURN.md` is shown by a test with a real process: which one shows which.

use std::collections::BTreeSet;
use std::process::Command;

use ::relay::config::coturn::options;

/// The options with a star, each with the tests of this program that show what it does.
#[rustfmt::skip]
const SHOWN: &[(&str, &[&str])] = &[
    ("listening-device", &["listeners::devices_stand_for_their_addresses"]),
    ("listening-port", &["listeners::the_listening_port_is_the_only_plain_one"]),
    ("tls-listening-port", &["listeners::the_tls_port_serves_tls_and_dtls_and_so_does_the_plain_one"]),
    ("alt-listening-port", &["listeners::the_alternate_ports_answer_for_the_first_ones"]),
    ("alt-tls-listening-port", &["listeners::the_alternate_ports_answer_for_the_first_ones"]),
    ("listening-ip", &["listeners::clients_reach_every_listening_ip_and_no_other"]),
    ("no-udp", &["listeners::no_udp_and_no_tcp_leave_the_other",
        "listeners::no_udp_with_a_certificate_leaves_tcp_tls_and_dtls"]),
    ("no-tcp", &["listeners::no_udp_and_no_tcp_leave_the_other"]),
    ("no-tls", &["listeners::no_tls_and_no_dtls_leave_the_other"]),
    ("no-dtls", &["listeners::no_tls_and_no_dtls_leave_the_other"]),
    ("relay-threads", &["listeners::relay_threads_are_the_workers_that_serve"]),
    ("relay-device", &["listeners::devices_stand_for_their_addresses"]),
    ("relay-ip", &["relay::clients_are_relayed_from_the_relay_ips"]),
    ("external-ip", &["relay::a_plain_external_ip_stands_for_all_addresses_of_its_family",
        "relay::each_external_ip_with_a_local_one_stands_for_that_one"]),
    ("min-port", &["relay::relay_ports_are_those_of_the_range_and_508_beyond"]),
    ("max-port", &["relay::relay_ports_are_those_of_the_range_and_508_beyond"]),
    ("no-udp-relay", &["relay::no_udp_relay_leaves_tcp"]),
    ("no-tcp-relay", &["relay::tcp_is_relayed_unless_switched_off"]),
    ("mobility", &["relay::a_session_moves_with_its_ticket_where_mobility_is_on"]),
    ("server-name", &["protocol::access_tokens_are_made_for_the_server_name"]),
    ("cert", &["tls::the_certificate_of_the_file_is_shown_with_its_key",
        "tls::a_certificate_without_its_key_leaves_plain_listeners_and_a_warning"]),
    ("pkey", &["tls::the_certificate_of_the_file_is_shown_with_its_key",
        "tls::a_certificate_without_its_key_leaves_plain_listeners_and_a_warning"]),
    ("cipher-list", &["tls::the_cipher_list_says_which_suites_are_agreed_on"]),
    ("fingerprint", &["protocol::fingerprint_is_in_all_answers_or_in_those_to_requests_that_have_one"]),
    ("stun-only", &["protocol::stun_only_answers_binding_and_grants_nothing"]),
    ("no-stun", &["protocol::no_stun_grants_sessions_and_answers_no_binding"]),
    ("denied-peer-ip", &["peers::peers_are_denied_and_allowed_as_by_coturn"]),
    ("allowed-peer-ip", &["peers::peers_are_denied_and_allowed_as_by_coturn"]),
    ("no-multicast-peers", &["peers::peers_are_denied_and_allowed_as_by_coturn"]),
    ("lt-cred-mech", &["auth::lt_cred_mech_asks_every_client_for_the_password_of_a_user_of_the_realm"]),
    ("user", &["auth::lt_cred_mech_asks_every_client_for_the_password_of_a_user_of_the_realm"]),
    ("realm", &["auth::the_realm_is_told_to_clients_and_keys_hold_for_it_alone"]),
    ("use-auth-secret", &["auth::with_use_auth_secret_no_user_is_let_in_as_with_coturn"]),
    ("static-auth-secret", &["auth::each_of_several_static_secrets_makes_credentials_until_their_time_is_over"]),
    ("stale-nonce", &["auth::a_nonce_is_stale_after_its_time_and_never_where_that_is_0"]),
    ("user-quota", &["options::quotas_of_users_and_of_the_realm_count_on_this_node"]),
    ("total-quota", &["options::quotas_of_users_and_of_the_realm_count_on_this_node"]),
    ("max-bps", &["limits::a_client_gets_its_rate_in_each_direction_and_not_more"]),
    ("bps-capacity", &["limits::a_capacity_takes_as_many_sessions_of_the_rate_as_coturns_and_refuses_the_next"]),
    ("userdb", &["options::users_that_turnadmin_keeps_in_sqlite_are_accepted"]),
    ("redis-userdb", &["options::users_that_turnadmin_keeps_in_redis_are_accepted"]),
    ("redis-statsdb", &["limits::sessions_are_told_to_the_statistics_database_of_the_file"]),
    ("verbose", &["log::verbose_logs_what_single_clients_do"]),
    ("log-file", &["log::stdout_and_a_dash_are_standard_output"]),
    ("no-stdout-log", &["log::a_log_file_has_its_name_and_nothing_goes_to_the_terminal"]),
    ("simple-log", &["log::a_log_file_has_its_name_and_nothing_goes_to_the_terminal"]),
    ("syslog", &["log::the_systems_log_hears_its_facility_whichever_option_names_it"]),
    ("no-cli", &["admin::no_cli_opens_no_port"]),
    ("cli-ip", &["admin::cli_ip_and_cli_port_are_where_the_password_opens"]),
    ("cli-port", &["admin::cli_ip_and_cli_port_are_where_the_password_opens"]),
    ("cli-password", &["admin::a_password_of_any_language_opens_and_one_that_nobody_can_send_is_refused"]),
    ("pidfile", &["process::the_pid_file_is_roots_and_goes_or_is_emptied_at_the_end"]),
    ("proc-user", &["process::root_gives_its_rights_up_once_everything_is_bound"]),
    ("proc-group", &["process::root_gives_its_rights_up_once_everything_is_bound"]),
    ("daemon", &["process::a_daemon_has_a_session_of_its_own_and_ends_at_a_signal"]),
];

/// Options with a star that only get a message, each with the reason: none.
const EXCUSED: &[(&str, &str)] = &[];

#[test]
fn every_star_has_its_test() {
    let stars: BTreeSet<&str> = options::all()
        .filter(|option| option.is_common())
        .map(|option| option.name)
        .collect();
    let excused = EXCUSED.iter().map(|(name, _)| *name);
    let shown = SHOWN.iter().map(|(name, _)| *name);
    let rows: Vec<&str> = shown.chain(excused).collect();
    let named: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(rows.len(), named.len(), "an option has two rows");
    let missing: Vec<_> = stars.difference(&named).collect();
    let extra: Vec<_> = named.difference(&stars).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "without a row {missing:?}, without a star {extra:?}"
    );
    // What this very program would run; a test that is ignored is none.
    let program = std::env::current_exe().unwrap();
    let list = |flag: &str| {
        let output = Command::new(&program)
            .args(["--list", flag])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (all, ignored) = (list("--include-ignored"), list("--ignored"));
    let names: BTreeSet<&str> = all
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect();
    for (option, tests) in SHOWN {
        assert!(!tests.is_empty(), "{option} has no test");
        for test in *tests {
            assert!(
                names.contains(test) && !ignored.contains(test),
                "{option}: there is no test {test}"
            );
            let module = test.split("::").next().unwrap();
            let path = format!("{}/coturn_conf/{module}.rs", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(option), "{path} does not have {option}");
        }
    }
}
