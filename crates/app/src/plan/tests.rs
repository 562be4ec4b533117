//! What each key of a configuration becomes, and how wrong ones are refused.

use plexspaces_actor::{Fault, Instance, Sdk, Spec, Turn};
use serde_json::json;

use super::*;

struct Bank(Description);

#[async_trait::async_trait]
impl Factory for Bank {
    fn description(&self) -> &Description {
        &self.0
    }

    async fn create(&self, spec: &Spec, _: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        panic!("{} is planned and not started", spec.id)
    }
}

/// A component with an account, which is durable by its code, a till, which is a machine, and a transfer, which is a workflow.
fn planned(config: &str) -> Result<Application, String> {
    planned_as(config, None, json!([]))
}

/// The same, deployed under the name of a type, and with facets that the till has by its code.
fn planned_as(config: &str, actor_type: Option<&str>, of_till: serde_json::Value) -> Result<Application, String> {
    let info = |name: &str, alias: &str, behavior: Behavior, facets: serde_json::Value| TypeInfo {
        name: name.to_owned(),
        aliases: vec![alias.to_owned()],
        class: String::new(),
        behavior,
        states: Vec::new(),
        initial: None,
        doc: String::new(),
        facets: serde_json::from_value(facets).unwrap(),
        handlers: Vec::new(),
    };
    let actors = vec![
        info("account", "Account", Behavior::GenServer, json!([{"type": "durability", "config": {"checkpoint_interval": 7}}])),
        info("till", "Till", Behavior::GenFSM, of_till),
        info("transfer", "Transfer", Behavior::Workflow, json!([])),
    ];
    let factory = Arc::new(Bank(Description { sdk: Sdk { language: "rust".to_owned(), version: "0".to_owned() }, actors }));
    let names = Names { tenant: &Name::default_scope(), namespace: None, app: Some("bank"), actor_type };
    let config = AppConfig::parse(config).map_err(|error| error.to_string())?;
    let outbound = plexspaces_outbound::Client::new(plexspaces_outbound::Config::default()).unwrap();
    plan(&names, Some(&config), factory, Limits::default(), &FacetRegistry::builtin(), &outbound).map_err(|failure| failure.message)
}

/// The only child of an application.
fn child(text: &str) -> Result<ChildSpec, String> {
    let application = planned(&format!("[[supervisor.children]]\n{text}"))?;
    Ok(application.supervisor.actors()[0].clone())
}

fn keys(supervisor: &SupervisorSpec) -> Vec<String> {
    let name = |child: &actor::Child| match child {
        actor::Child::Actor(actor) => actor.key.to_string(),
        actor::Child::Supervisor(inner) => format!("{}[{}]", inner.name, keys(inner).join(" ")),
    };
    supervisor.children.iter().map(name).collect()
}

#[test]
fn a_child_is_found_by_each_spelling_of_its_name_and_type() {
    for (text, key, actor_type, aliases) in [
        ("id = 'a'\ntype = 'account'", "a", "account", vec![]),
        ("name = 'a'\nactor_type = 'account'", "a", "account", vec![]),
        ("id = 'a'\nname = 'a'\ntype = 'till'\nactor_type = 'till'", "a", "till", vec![]),
        ("id = 'a'\ntype = 'Till'", "a", "till", vec![]),
        ("id = 'till'", "till", "till", vec![]),
        ("name = 'front'\nactor_type = 'bank_wasm'\nrole = 'till'", "front", "till", vec!["till", "bank_wasm"]),
        ("name = 'front'\nactor_type = 'bank_wasm'\nargs = { role = 'till' }", "front", "till", vec!["till", "bank_wasm"]),
        ("name = 'front'\nrole = 'till'\nargs = { role = 'account' }", "front", "till", vec!["till"]),
        ("name = 'till'\nactor_type = 'bank_wasm'\nrole = 'till'", "till", "till", vec!["bank_wasm"]),
        ("name = 'x'\nactor_type = 'account'\nrole = 'till'", "x", "till", vec!["till"]),
    ] {
        let child = child(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((child.key.as_str(), child.actor_type.as_str(), child.aliases), (key, actor_type, aliases_of(&aliases)), "{text}");
    }
}

fn aliases_of(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_spelling_of_the_window_is_the_same_at_every_level() {
    let seconds = Duration::from_secs;
    for (text, restarts, window) in [
        ("", 5, seconds(60)),
        ("max_restarts = 0", 0, seconds(60)),
        ("max_restart_window_secs = 10", 5, seconds(10)),
        ("max_restart_window_seconds = 10", 5, seconds(10)),
        ("max_restart_window = '10s'", 5, seconds(10)),
        ("max_restart_window = '1500ms'", 5, Duration::from_millis(1500)),
        ("max_restarts = 9\nmax_restart_window_secs = 90\nmax_restart_window_seconds = 90\nmax_restart_window = '1m30s'", 9, seconds(90)),
        ("max_restart_window_seconds = 90\nmax_restart_window = '90s'", 5, seconds(90)),
    ] {
        let root = planned(&format!("[supervisor]\n{text}")).unwrap().supervisor;
        let inner = planned(&format!("[[supervisor.children]]\nid = 's'\ntype = 'supervisor'\n{text}")).unwrap().supervisor;
        let actor::Child::Supervisor(inner) = &inner.children[0] else { panic!("expected a supervisor") };
        for supervisor in [&root, inner] {
            assert_eq!(supervisor.intensity, Intensity { max_restarts: restarts, window }, "{text}");
        }
    }
    for (text, strategy) in [
        ("one_for_one", supervision::Strategy::OneForOne),
        ("rest_for_one", supervision::Strategy::RestForOne),
        ("one_for_all", supervision::Strategy::OneForAll),
    ] {
        let root = planned(&format!("[supervisor]\nid = 'top'\nstrategy = '{text}'")).unwrap().supervisor;
        assert_eq!((root.strategy, root.name.as_str()), (strategy, "top"));
    }
}

#[test]
fn a_childs_life_is_as_it_is_written() {
    let plain = child("id = 'till'").unwrap();
    assert_eq!((plain.restart, plain.shutdown), (supervision::Restart::Permanent, Duration::from_secs(5)));
    assert!(!plain.profile.durable && plain.profile.idle_timeout.is_none() && !plain.profile.eager && plain.profile.labels.is_empty());
    for (text, restart) in [
        ("permanent", supervision::Restart::Permanent),
        ("transient", supervision::Restart::Transient),
        ("temporary", supervision::Restart::Temporary),
    ] {
        assert_eq!(child(&format!("id = 'till'\nrestart = '{text}'")).unwrap().restart, restart);
    }
    assert_eq!(child("id = 'till'\nshutdown_timeout = '250ms'").unwrap().shutdown, Duration::from_millis(250));
    for (name, kind) in [("account", "GenServer"), ("till", "GenFSM"), ("till", "GenStateMachine"), ("transfer", "Workflow")] {
        assert!(child(&format!("id = '{name}'\nbehavior_kind = '{kind}'")).is_ok(), "{kind}");
    }
    // TOML 1.1: an inline table may go over several lines.
    let args = child("id = 'till'\nargs = { currency = 'EUR',\n  limits = [1,\n 2],\n  prompt = 'be kind', }").unwrap().profile.args;
    assert_eq!(json!(args), json!({"currency": "EUR", "limits": [1, 2], "prompt": "be kind"}));
}

#[test]
fn a_priority_of_durability_and_of_virtual_actor_changes_nothing() {
    let life = |priority: &str| {
        let facets = format!(
            "facets = [{{ type = 'durability'{priority} }}, {{ type = 'metrics', priority = 95 }}, {{ type = 'virtual_actor'{priority} }}]"
        );
        format!("{:?}", child(&format!("id = 'till'\n{facets}")).unwrap().profile)
    };
    for priority in [", priority = 0", ", priority = 90", ", priority = 100000"] {
        assert_eq!(life(priority), life(""), "{priority}");
    }
}

#[test]
fn facets_of_code_type_and_child_lie_over_each_other() {
    assert_eq!(child("id = 'account'").unwrap().profile.keeping.interval, Some(7), "the code's own");
    for name in ["durability", "DurabilityFacet"] {
        let profile = child(&format!("id = 'till'\nfacets = [{{ type = '{name}', config = {{ checkpoint_interval = 3, history = 9 }} }}]"));
        let profile = profile.unwrap().profile;
        assert_eq!((profile.durable, profile.keeping.interval, profile.keeping.history), (true, Some(3), 9), "{name}");
    }
    let refused = child("id = 'till'\nfacets = [{ type = 'durability', config = { run_timeout = '1d' } }]").unwrap_err();
    assert!(refused.contains("facet durability: run_timeout is for the runs of workflows"), "{refused}");
    let life = "facets = [{ type = 'virtual_actor', priority = 100, config = {\n idle_timeout = '30m', activation_strategy = 'eager',\n labels = { tier = 'gold' } } }]";
    let profile = child(&format!("id = 'till'\n{life}")).unwrap().profile;
    assert_eq!((profile.idle_timeout, profile.eager), (Some(Duration::from_secs(1800)), true));
    assert_eq!(json!(profile.labels), json!({"tier": "gold"}));
    let lazy = child("id = 'till'\nfacets = [{ type = 'virtual_actor', config = { activation_strategy = 'lazy' } }]").unwrap().profile;
    assert_eq!((lazy.idle_timeout, lazy.eager), (None, false));
    let own =
        "[types.account]\nfacets = [{ type = 'durability', config = { checkpoint_interval = 2 } }, { type = 'metrics', priority = 50 }]\n";
    let application = planned(&format!(
        "{own}[[supervisor.children]]\nid = 'account'\nfacets = [{{ type = 'durability', config = {{ checkpoint_interval = 1 }} }}]"
    ));
    let application = application.unwrap();
    let of_type = &application.types.iter().find(|spec| spec.name.as_str() == "account").unwrap().profile;
    let of_child = &application.supervisor.actors()[0].profile;
    assert_eq!((of_type.keeping.interval, of_child.keeping.interval), (Some(2), Some(1)));
    for profile in [of_type, of_child] {
        assert_eq!((profile.facets[0].name.as_str(), profile.facets[0].priority), ("metrics", Some(50)));
    }
}

#[test]
fn facets_that_the_code_leaves_to_the_configuration_are_checked_with_it() {
    let till = json!([{"type": "caching", "config": {}}]);
    let child = |config: &str| format!("[[supervisor.children]]\nid = 'front'\ntype = 'till'\n{config}");
    let given = child("facets = [{ type = 'caching', config = { operations = ['get'] } }]\nargs = { a = 1 }");
    let application = planned_as(&given, None, till.clone()).unwrap();
    let of_type = &application.types.iter().find(|spec| spec.name.as_str() == "till").unwrap().profile;
    for profile in [of_type, &application.supervisor.actors()[0].profile] {
        assert_eq!(json!(profile.facets[0].config), json!({"operations": ["get"]}));
    }
    assert!(of_type.args.is_empty());
    let nobody = planned_as("", None, till.clone()).err().unwrap();
    assert!(nobody.starts_with("type \"till\": facet caching: "), "{nobody}");
    let nothing = planned_as(&child(""), None, till).err().unwrap();
    assert!(nothing.starts_with("child \"front\": type \"till\": facet caching: "), "{nothing}");
}

#[test]
fn a_deployment_under_the_name_of_no_type_is_refused() {
    assert!(planned_as("", Some("Till"), json!([])).is_ok());
    let refused = planned_as("", Some("zzz"), json!([])).err().unwrap();
    assert_eq!(refused, "the component has several types and none of them is \"zzz\"; it has account, till, transfer");
}

#[test]
fn dates_reach_an_actor_as_texts_and_what_json_cannot_say_is_refused() {
    let dates = child("id = 'till'\nargs = { day = 1979-05-27, at = [1979-05-27T07:32:00Z], in = { time = 07:32:00 } }").unwrap();
    assert_eq!(json!(dates.profile.args), json!({"day": "1979-05-27", "at": ["1979-05-27T07:32:00Z"], "in": {"time": "07:32:00"}}));
    let refused = child("id = 'till'\nargs = { x = nan }").unwrap_err();
    assert!(refused.contains("NaN is no number of JSON"), "{refused}");
}

#[test]
fn limits_with_which_no_turn_could_be_run_are_refused() {
    for limit in ["turn_cpu = '0s'", "turn_time = '0s'", "mailbox = 0", "payload = 0", "memory = 0", "memory = '1TiB'"] {
        let child = format!("[[supervisor.children]]\nid = 'till'\nlimits = {{ {limit} }}");
        for text in [format!("[limits]\n{limit}"), format!("[types.till.limits]\n{limit}"), child] {
            let refused = planned(&text).err().unwrap();
            assert!(refused.contains(", expected ") && refused.contains("limits.") && refused.contains("line "), "{text}: {refused}");
        }
    }
}

#[test]
fn limits_of_application_type_and_child_lie_over_each_other() {
    let text = "[limits]\nmemory = '64MiB'\nturn_cpu = '1s'\npayload = 1000\n[types.till.limits]\nturn_cpu = '2s'\nmailbox = 5\n[[supervisor.children]]\nid = 'till'\nlimits = { mailbox = 6, turn_time = '3s' }\n[[supervisor.children]]\nid = 'account'\n";
    let application = planned(text).unwrap();
    let limits = |name: &str| application.types.iter().find(|spec| spec.name.as_str() == name).unwrap().profile.limits;
    let all = Limits { memory_bytes: 64 << 20, turn_cpu: Duration::from_secs(1), payload_bytes: 1000, ..Limits::default() };
    let till = Limits { turn_cpu: Duration::from_secs(2), mailbox: 5, ..all };
    assert_eq!((limits("account"), limits("till"), limits("transfer")), (all, till, all));
    let children: Vec<Limits> = application.supervisor.actors().iter().map(|child| child.profile.limits).collect();
    assert_eq!(children, [Limits { mailbox: 6, turn_time: Duration::from_secs(3), ..till }, all]);
}

#[test]
fn children_start_after_what_they_depend_on_and_else_as_written() {
    for (text, order) in [
        ("[supervisor]\nchildren = [{ id = 'b', type = 'till' }, { id = 'a', type = 'till' }]", "b a"),
        (
            "[supervisor]\nchildren = [{ id = 'b', type = 'till', depends_on = ['a'] },\n { id = 'a', type = 'till' }, { id = 'c', type = 'till' }]",
            "a b c",
        ),
        (
            "[supervisor]\nchildren = [{ id = 'd', type = 'till', depends_on = ['c', 'a'] }, { id = 'c', type = 'till', depends_on = ['a'] }, { id = 'b', type = 'till' }, { id = 'a', type = 'till', depends_on = ['b', 'b'] }]",
            "b a c d",
        ),
        ("[supervisor]\nchildren = [{ id = 'w', type = 'till', count = 3 }, { name = 'x', type = 'till' }]", "w-1 w-2 w-3 x"),
        ("[supervisor]\nchildren = [{ id = 'w', type = 'till', count = 1 }]", "w-1"),
        (
            "[supervisor]\nchildren = [{ id = 'w', type = 'till', count = 2, depends_on = ['x-2'] }, { id = 'y', type = 'till', depends_on = ['w'] }, { id = 'x', type = 'till', count = 2 }]",
            "x-1 x-2 w-1 w-2 y",
        ),
        (
            "[supervisor]\nchildren = [{ id = 'gate', type = 'till', depends_on = ['inner'] }, { id = 'inner', type = 'supervisor', children = [{ id = 'p', type = 'till', depends_on = ['q'] }, { id = 'q', type = 'till' }] }]",
            "inner[q p] gate",
        ),
    ] {
        let application = planned(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(keys(&application.supervisor).join(" "), order, "{text}");
    }
    let many = planned("[supervisor]\nchildren = [{ id = 'w', type = 'bank', role = 'till', args = { n = 1 }, count = 1000 }]").unwrap();
    let actors = many.supervisor.actors();
    assert_eq!((actors.len(), actors[999].key.as_str()), (1000, "w-1000"));
    assert!(
        actors.iter().all(|child| child.actor_type.as_str() == "till" && child.aliases == ["till", "bank"] && child.profile.args["n"] == 1)
    );
}

/// The first text after the colon is the whole message, with the line.
#[test]
fn what_contradicts_itself_is_refused_with_its_line_whatever_the_component_is() {
    let children = |rest: &str| format!("[supervisor]\nstrategy = 'one_for_one'\n\n[[supervisor.children]]\nid = 'a'\n{rest}");
    let two = |one: &str, other: &str| children(&format!("{one}\n[[supervisor.children]]\nid = 'b'\n{other}"));
    for (text, message) in [
        ("[supervisor]\nmax_restart_window_secs = 5\nmax_restart_window_seconds = 6\n".to_owned(), "line 3: max_restart_window_secs = 5 and max_restart_window_seconds = 6 mean the same key; give one of them"),
        ("[supervisor]\nmax_restart_window_seconds = 5\nmax_restart_window = '6s'\n".to_owned(), "line 3: max_restart_window_seconds = 5s and max_restart_window = 6s mean the same key; give one of them"),
        (children("type = 'supervisor'\nmax_restart_window = '6s'\nmax_restart_window_secs = 5"), "line 7: max_restart_window_secs = 5s and max_restart_window = 6s mean the same key; give one of them"),
        (children("name = 'b'"), "line 6: id = \"a\" and name = \"b\" mean the same key; give one of them"),
        (children("type = 'till'\nactor_type = 'account'"), "line 7: type = \"till\" and actor_type = \"account\" mean the same key; give one of them"),
        ("[supervisor]\nchildren = [\n  { id = 'a' },\n  { type = 'till' },\n]".to_owned(), "line 4: a child of the supervisor has no id (or name)"),
        (children("strategy = 'one_for_all'"), "line 6: child \"a\": strategy is only for a child with type = \"supervisor\""),
        (children("type = 'supervisor'\nstrategy = 'one_for_all'\nargs = { a = 1 }"), "line 8: child \"a\": args is not for a supervisor"),
        (children("type = 'supervisor'\nstrategy = 'one_for_all'\ncount = 2"), "line 8: child \"a\": count is not for a supervisor"),
        (two("", "depends_on = ['a', 'c']"), "line 9: child \"b\": depends_on has \"c\", which is not one of its siblings: a"),
        (children("depends_on = ['b']"), "line 6: child \"a\": depends_on has \"b\", which is not one of its siblings: none"),
        (two("depends_on = ['b']", "depends_on = ['a']"), "line 6: the children depend on each other in a circle: \"a\" needs \"b\" needs \"a\""),
        (children("depends_on = ['a']"), "line 6: the children depend on each other in a circle: \"a\" needs \"a\""),
        (children("count = 2\ndepends_on = ['a-1']"), "line 7: the children depend on each other in a circle: \"a\" needs \"a\""),
        (
            "[supervisor]\nchildren = [\n{ id = 'x', depends_on = ['y'] },\n{ id = 'y', depends_on = ['z'] },\n{ id = 'z', depends_on = ['y'] }]".to_owned(),
            "line 4: the children depend on each other in a circle: \"y\" needs \"z\" needs \"y\"",
        ),
        (children("depends_on = 'b'"), "line 6: invalid type: string \"b\", expected a sequence"),
        (children("count = 0"), "line 6: count is 0, expected 1 to 1000"),
        (children("count = 1001"), "line 6: count is 1001, expected 1 to 1000"),
        (children("count = -1"), "line 6: count is -1, expected 1 to 1000"),
        (children("count = 'two'"), "line 6: invalid type: string \"two\", expected i64"),
        (children("resources = { cpu = 1 }"), "line 6: `resources` is not supported by this version; what an actor may use is said by `limits`"),
        (children("[[supervisor.children]]\nid = 'a'"), "line 6: two children of one supervisor are named \"a\""),
        (children("count = 2\n[[supervisor.children]]\nid = 'a-2'"), "line 7: two children of one supervisor are named \"a-2\""),
        (children("type = 'supervisor'\n[[supervisor.children.children]]\nid = 'x'\n[[supervisor.children]]\nid = 'x'"), "line 9: two children are named \"x\""),
        ("[app]\nname = 'a b'".to_owned(), "line 2: "),
        ("[app]\n\nnamespace = ''".to_owned(), "line 3: "),
        (children("facets = [{ type = 'virtual_actor', config = { idle_timout = '5m' } }]"), "line 6: child \"a\": facet virtual_actor: "),
        ("[types.till]\nfacets = [{ type = 'metrics' }, { type = 'metrics' }]".to_owned(), "line 2: the facet metrics is given twice"),
        ("[types.till]\nfacets = [{ type = 'http_client', config = { links = ['lmm'] } }]\n[[service_links]]\nname = 'llm'\nbase_url = 'https://a.example'".to_owned(), "line 2: facet http_client: links has the unknown service link \"lmm\"; the application has llm; did you mean `llm`?"),
        ("[supervisor]\nchildren = [{ id = 'a/b' }]".to_owned(), "line 2: a child's name must not be empty or contain '/', found \"a/b\""),
        ("[[service_links]]\nname = 'a'\nbase_url = 'https://a.example'\n[[service_links]]\nname = 'a'\nbase_url = 'https://b.example'".to_owned(), "line 4: service link \"a\": name is given to two service links"),
        (children("restart = 'sometimes'"), "line 6: unknown variant `sometimes`"),
        (children("behavior_kind = 'GenServr'"), "line 6: unknown variant `GenServr`"),
    ] {
        let error = AppConfig::parse(&text).err().unwrap_or_else(|| panic!("accepted: {text}")).to_string();
        let said = error.strip_prefix("app-config.toml, ").unwrap_or(&error);
        let is_whole = !message.ends_with(' ') && !message.ends_with('`');
        assert!(if is_whole { said == message } else { said.starts_with(message) }, "{text}\n  said     {said}\n  expected {message}");
    }
    // A facet that only some node has is not known to be wrong, nor is what a facet of the code may make right.
    for text in
        ["facets = [{ type = 'of_this_node', config = { a = 1 } }]", "type = 'supervisor'\nargs = { a = 1 }", "type = 'nothing_known'"]
    {
        assert!(AppConfig::parse(&children(text)).is_ok(), "{text}");
    }
}

#[test]
fn what_the_component_does_not_have_is_refused() {
    for (text, message) in [
        (
            "[[supervisor.children]]\nid = 'a'\ntype = 'tll'",
            "child \"a\": the component has no type \"tll\", it has account, till, transfer",
        ),
        (
            "[[supervisor.children]]\nid = 'till'\nrole = 'clerk'",
            "child \"till\": the component has no type \"clerk\", it has account, till, transfer",
        ),
        (
            "[[supervisor.children]]\nid = 'till'\nbehavior_kind = 'GenServer'",
            "child \"till\": behavior_kind is GenServer, but the code of till is a GenFSM",
        ),
        ("[types.tll]\n", "[types.tll] is not a type of the component, which has account, till, transfer"),
        ("[app]\nname = 'other'", "app is \"bank\" in the request and \"other\" in the configuration"),
        ("[[supervisor.children]]\nid = 's'\ntype = 'supervisor'\nargs = { a = 1 }", "child \"s\": args is not for a supervisor"),
    ] {
        assert_eq!(planned(text).err().as_deref(), Some(message), "{text}");
    }
}
