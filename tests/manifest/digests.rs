//! What changes a digest and what does not, and what is rendered again.

use trimtab::domain::manifest::DocumentSet;
use trimtab::domain::render::{RenderCache, render_cached};

use super::{HELLO, STAGING, release, unit};

fn digest(app: &str) -> String {
    let release = release("{ version: 1, set: { replicas: 2 } }");
    unit(&[("env.yaml", STAGING), ("app.yaml", app), ("r.yaml", &release)]).digest().to_string()
}

#[test]
fn form_does_not_matter() {
    let plain = digest(HELLO);
    let same = [
        "kind: App\nspec:\n  route: { host: hello.localhost }\n  workload: { process: { command: [bin/hello], artifact: hello } }\nmetadata: { name: hello }\napiVersion: trimtab/v1\n",
        "# comment\napiVersion: trimtab/v1\nkind: App\n\nmetadata:\n  name: \"hello\"\nspec:\n  workload:\n    process:\n      artifact: { path: ./hello/ }\n      command:\n      - 'bin/hello' # here\n  route:\n    host: hello.localhost\n    path: /\n    drain: 30000ms\n  replicas: 7\n  strategy: { rolling: { maxSurge: 25% } }\n",
    ];
    for text in same {
        assert_eq!(digest(text), plain, "{text}");
    }
    assert_ne!(digest(&HELLO.replace("bin/hello", "bin/hallo")), plain);
}

#[test]
fn the_file_does_not_matter() {
    let release = release("{ version: 1 }");
    let apart = unit(&[("env.yaml", STAGING), ("app.yaml", HELLO), ("r.yaml", &release)]);
    let together = format!("{STAGING}---\n{HELLO}---\n{release}");
    assert_eq!(unit(&[("all.yml", &together)]).digest(), apart.digest());
    let deep = HELLO.replace("artifact: hello", "artifact: /hello");
    let moved = unit(&[("x/env.yaml", STAGING), ("deep/down/app.yaml", &deep), ("y/r.yaml", &release)]);
    assert_eq!(moved.digest(), apart.digest());
}

#[test]
fn only_what_changed_is_rendered_again() {
    let script = "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: smoke }\nspec: { run: x }\n";
    let app = format!("{HELLO}  hooks: {{ after: [smoke] }}\n");
    let second = HELLO.replace("hello", "other").replace("artifact: other", "artifact: hello/other");
    let second_release = release("{ version: 1 }").replace("name: hello", "name: other");
    let first_release = release("{ version: 1 }");
    let all = [
        ("env.yaml", STAGING),
        ("hello.yaml", &app),
        ("hello-r.yaml", &first_release),
        ("other.yaml", &second),
        ("other-r.yaml", &second_release),
        ("smoke.yaml", script),
    ];
    let mut cache = RenderCache::default();
    let mut count = |files: &[(&str, &str)], oid: &str| {
        let set = DocumentSet::from(files.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect());
        let units = render_cached(
            &set,
            &|path| Some(if path == "hello" { oid.to_owned() } else { "f".repeat(40) }),
            &mut cache,
        );
        assert!(units.len() == 2 && units.iter().all(|unit| unit.outcome.is_ok()), "{units:?}");
        cache.rendered
    };
    let replace = |path: &str, text: &'static str| {
        let mut files = all.to_vec();
        files.iter_mut().filter(|(found, _)| *found == path).for_each(|(_, old)| *old = text);
        files
    };
    let (a, b) = ("a".repeat(40), "b".repeat(40));
    assert_eq!(count(&all, &a), 2);
    assert_eq!(count(&all, &a), 0);
    assert_eq!(count(&all, &b), 1, "the artifact of one app");
    let commented: &'static str = format!("# a comment\n{app}").leak();
    assert_eq!(count(&replace("hello.yaml", commented), &b), 0, "a comment");
    let louder: &'static str = script.replace("run: x", "run: y").leak();
    assert_eq!(count(&replace("smoke.yaml", louder), &b), 1, "the script of one app");
    assert_eq!(count(&all, &b), 1, "the script again");
    let debug: &'static str = STAGING.replace("info", "debug").leak();
    assert_eq!(count(&replace("env.yaml", debug), &b), 2, "the environment of both");
}
