//! What API servers say in words of the programs behind them, said again for whoever wrote the manifest: which field, what stands
//! there, what to do. Words that tell it already are left as they are.
//!
//! Words that are seen: those of Kubernetes 1.34, its structured-merge-diff, its JSON decoder, and etcd.

/// A value in these words is told up to so many characters.
const LONGEST_VALUE: usize = 60;

/// A server's words said plainly; `None`: they are plain.
pub fn plainly(message: &str) -> Option<String> {
    mistyped(message)
        .or_else(|| not_base64(message))
        .or_else(|| undecoded(message))
        .or_else(|| unknown_fields(message))
        .or_else(|| webhook_away(message))
        .or_else(|| advice(message).map(|advice| format!("{message}: {advice}")))
}

/// Words of the JSON decoder behind `failed to convert new object (shop/db; /v1, Kind=Secret) to proper version`: they name no field.
fn not_base64(message: &str) -> Option<String> {
    message.contains("illegal base64 data at input byte ").then(|| {
        "a value under `data` or `binaryData` is not base64: encode it, or write it as it is under `stringData` of a Secret, `data` of a \
         ConfigMap"
            .to_owned()
    })
}

/// What is wrong with fields that have not the form which their kind has there, without their values.
pub fn malformed_fields(message: &str) -> Option<String> {
    mistyped_fields(message).or_else(|| not_base64(message))
}

fn mistyped_fields(message: &str) -> Option<String> {
    let told = |line: &str| {
        let (path, problem) = field(line)?;
        let (expected, got) = problem.strip_prefix("expected ")?.split_once(", got ")?;
        // Keys of lists may be values.
        let plain = path.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c));
        plain.then(|| format!("{path} {}{}", must_be(expected), quoting(expected, &Given::read(got), false)))
    };
    lines(message)?.into_iter().map(told).collect::<Option<Vec<String>>>().map(|all| all.join("; "))
}

/// Words of structured-merge-diff: `failed to create typed patch object (shop/web; v1, Kind=ConfigMap): .data.PORT: expected string,
/// got &value.valueUnstructured{Value:8080}`.
fn mistyped(message: &str) -> Option<String> {
    let told = |line: &str| {
        let (path, problem) = field(line)?;
        if problem.starts_with("field not declared in schema") {
            return Some(no_field(path));
        }
        let (expected, got) = problem.strip_prefix("expected ")?.split_once(", got ")?;
        let given = Given::read(got);
        Some(format!("{path} {}, and {} was given{}", must_be(expected), given.told(), quoting(expected, &given, true)))
    };
    lines(message)?.into_iter().map(told).collect::<Option<Vec<String>>>().map(|all| all.join("; "))
}

/// What is told of each field.
fn lines(message: &str) -> Option<Vec<&str>> {
    let (_, rest) = message.strip_prefix("failed to create typed ")?.split_once("): ")?;
    Some(match rest.strip_prefix("errors:\n") {
        Some(several) => several.lines().map(str::trim).filter(|line| !line.is_empty()).collect(),
        None => vec![rest],
    })
}

/// A field and the words about it.
fn field(line: &str) -> Option<(&str, &str)> {
    let (path, problem) = line.strip_prefix('.')?.split_once(": ")?;
    is_path(path).then_some((path, problem))
}

/// A path as servers write it, in which no value stands but a key's.
fn is_path(path: &str) -> bool {
    !path.is_empty() && !path.contains(char::is_whitespace) && path.len() <= 300
}

/// What was given in a field's place.
struct Given {
    /// As it stands in the words, without what Go puts around it.
    text: String,
    /// The kind of thing, where only that is told.
    kind: Option<&'static str>,
}

impl Given {
    fn read(got: &str) -> Given {
        let got = got.trim();
        let inner = got.strip_prefix("&value.valueUnstructured{Value:").or_else(|| got.strip_prefix("&{"));
        let text = inner.and_then(|inner| inner.strip_suffix('}')).unwrap_or(got);
        let kind = match text {
            "<nil>" | "nil" | "interface {}(nil)" => Some("nothing"),
            "string" => Some("a text"),
            "number" | "int64" | "float64" => Some("a number"),
            "bool" => Some("true or false"),
            "object" => Some("a mapping"),
            "array" => Some("a list"),
            text if text.starts_with("map[") => Some("a mapping"),
            text if text.starts_with('[') => Some("a list"),
            _ => None,
        };
        Given { text: text.chars().take(LONGEST_VALUE).collect(), kind }
    }

    fn told(&self) -> &str {
        self.kind.unwrap_or(&self.text)
    }

    /// Whether YAML takes it for something else than a text because it has no quotes.
    fn is_bare(&self) -> bool {
        matches!(self.kind, None | Some("a number" | "true or false"))
    }
}

fn must_be(expected: &str) -> String {
    let what = match expected {
        "string" => "a text",
        "numeric (int or float)" | "integer" => "a number",
        "boolean" => "true or false",
        "map" => "a mapping",
        "list" => "a list",
        other => other,
    };
    format!("must be {what}")
}

/// The remedy, as far as quotes are one.
fn quoting(expected: &str, given: &Given, shown: bool) -> String {
    match (expected, given.kind) {
        ("string", None) if shown => format!(": quote it, \"{}\"", given.text),
        ("string", _) if given.is_bare() => ": quote it".into(),
        ("numeric (int or float)" | "integer" | "boolean", Some("a text")) => ": leave the quotes away".into(),
        _ => String::new(),
    }
}

/// Words of Go's JSON decoder: `json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of
/// type string`.
fn undecoded(message: &str) -> Option<String> {
    let (before, rest) = message.split_once("cannot unmarshal ")?;
    let (given, rest) = rest.split_once(" into Go ")?;
    let (place, kind) = rest.rsplit_once(" of type ")?;
    let field = place.strip_prefix("struct field ").and_then(|place| place.split_once('.')).map(|(_, field)| field);
    let kind = kind.split_whitespace().next().unwrap_or(kind);
    let expected = match kind {
        "string" => "string",
        "bool" => "boolean",
        kind if kind.starts_with("map[") => "map",
        kind if kind.starts_with("[]") => "list",
        kind if kind.starts_with("int") || kind.starts_with("uint") || kind.starts_with("float") => "integer",
        // A mapping of strings is told by its values: `labels` of `map[string]string` is of type string.
        _ => "map",
    };
    let given = Given::read(given.split_whitespace().next().unwrap_or(given));
    let what = before.split(" in version ").next().filter(|what| !what.contains(' ') && !what.is_empty());
    let what = what.map(|what| format!("{what}: ")).unwrap_or_default();
    let field = field.unwrap_or("a field");
    Some(format!(
        "{what}{field} {}, and {} was given{}",
        must_be(expected),
        given.told(),
        quoting(expected, &given, false)
    ))
}

/// Words of the strict decoder: `strict decoding error: unknown field "spec.replicass", unknown field "spec.x"`.
fn unknown_fields(message: &str) -> Option<String> {
    let (_, list) = message.split_once("strict decoding error: ")?;
    let told: Vec<String> = list
        .split(", ")
        .map(|one| {
            let quoted = |prefix: &str| one.strip_prefix(prefix).and_then(|name| name.strip_suffix('"'));
            match (quoted("unknown field \""), quoted("duplicate field \"")) {
                (Some(name), _) => no_field(name),
                (_, Some(name)) => format!("{name} is given twice"),
                _ => one.to_owned(),
            }
        })
        .collect();
    Some(told.join("; "))
}

fn no_field(path: &str) -> String {
    format!("there is no field {path}: see its name and its place, or whether the cluster is too old or too new for it")
}

/// `Internal error occurred: failed calling webhook "x": failed to call webhook: Post "https://hook.infra.svc:443/x?timeout=10s": why`
fn webhook_away(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("failed calling webhook \"")?;
    let (name, rest) = rest.split_once("\": ")?;
    let rest = rest.strip_prefix("failed to call webhook: ").unwrap_or(rest);
    let (url, why) = match rest.strip_prefix("Post \"").and_then(|rest| rest.split_once("\": ")) {
        Some((url, why)) => (Some(url), why),
        None => (None, rest),
    };
    let host = url.and_then(|url| url.split("://").nth(1)?.split(['/', '?']).next());
    let at = host.map(|host| format!(" at {host}")).unwrap_or_default();
    Some(format!(
        "the cluster takes no such object while its webhook {name} does not answer{at}: {why}: see that the webhook's pods run, or remove \
         its configuration"
    ))
}

/// What to do where the words tell what is wrong and not that.
fn advice(message: &str) -> Option<&'static str> {
    let says = |words: &str| message.contains(words);
    if says("etcdserver: request is too large") || says("trying to send message larger than max") {
        return Some("the object is larger than the cluster can store (about 1.5 MiB): divide it");
    }
    if says("Too long: ") && says(" bytes") {
        return Some("divide it into several objects, or keep what is large elsewhere");
    }
    if says("failed quota: ") && says("must specify") {
        return Some("give each container these `resources`, or the namespace a LimitRange with defaults");
    }
    if says("exceeded quota: ") {
        return Some("ask for less, or raise that ResourceQuota");
    }
    if says("quantities must match the regular expression") {
        return Some("write a quantity as 500m, 0.5, 128Mi or 1Gi");
    }
    if says("is forbidden: User \"system:anonymous\"") {
        return Some("the API server was given no credentials that it knows: see the user of the daemon's kubeconfig");
    }
    if says("is forbidden: User ") && says(" cannot ") {
        return Some("give that account the right by a Role or ClusterRole that is bound to it");
    }
    if message == "the server could not find the requested resource" {
        return Some("it has no such kind, or not in this version, any more");
    }
    let missing = message.strip_prefix("namespaces \"").and_then(|rest| rest.strip_suffix("\" not found"));
    missing.map(|_| "make it, or add a Namespace to the objects")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words as API servers of 1.34 say them, and what is made of them.
    #[test]
    fn words_of_programs_are_said_for_people() {
        let typed = "failed to create typed patch object (shop/web; v1, Kind=ConfigMap): ";
        let rule = "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        for (words, plain) in [
            (
                format!("{typed}.data.PORT: expected string, got &value.valueUnstructured{{Value:8080}}"),
                "data.PORT must be a text, and 8080 was given: quote it, \"8080\"".to_owned(),
            ),
            (
                format!("{typed}.data.DEBUG: expected string, got &value.valueUnstructured{{Value:true}}"),
                "data.DEBUG must be a text, and true was given: quote it, \"true\"".into(),
            ),
            (
                format!("{typed}.data.a: expected string, got &value.valueUnstructured{{Value:map[string]interface {{}}{{\"b\":\"c\"}}}}"),
                "data.a must be a text, and a mapping was given".into(),
            ),
            (
                "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.template.spec.containers[name=\"web\"].env[name=\"PORT\"].value: expected string, got &value.valueUnstructured{Value:8080}".into(),
                "spec.template.spec.containers[name=\"web\"].env[name=\"PORT\"].value must be a text, and 8080 was given: quote it, \"8080\"".into(),
            ),
            (
                "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.replicas: expected numeric (int or float), got string".into(),
                "spec.replicas must be a number, and a text was given: leave the quotes away".into(),
            ),
            (
                format!("{typed}errors:\n  .data.A: expected string, got &value.valueUnstructured{{Value:1}}\n  .data.B: expected string, got &value.valueUnstructured{{Value:2}}"),
                "data.A must be a text, and 1 was given: quote it, \"1\"; data.B must be a text, and 2 was given: quote it, \"2\"".into(),
            ),
            (
                "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.template.spec.containers: expected list, got &{map[image:web]}".into(),
                "spec.template.spec.containers must be a list, and a mapping was given".into(),
            ),
            (
                "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.replicass: field not declared in schema".into(),
                "there is no field spec.replicass: see its name and its place, or whether the cluster is too old or too new for it".into(),
            ),
            (
                "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string".into(),
                "Deployment: spec.template.spec.containers.env.value must be a text, and a number was given: quote it".into(),
            ),
            (
                "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.annotations of type string".into(),
                "metadata.annotations must be a text, and true or false was given: quote it".into(),
            ),
            (
                "Job in version \"v1\" cannot be handled as a Job: json: cannot unmarshal string into Go struct field JobSpec.spec.backoffLimit of type int32".into(),
                "Job: spec.backoffLimit must be a number, and a text was given: leave the quotes away".into(),
            ),
            (
                "Job in version \"v1\" cannot be handled as a Job: strict decoding error: unknown field \"spec.x\", duplicate field \"spec.y\"".into(),
                "there is no field spec.x: see its name and its place, or whether the cluster is too old or too new for it; spec.y is given twice".into(),
            ),
            (
                "Internal error occurred: failed calling webhook \"v.example.com\": failed to call webhook: Post \"https://hook.infra.svc:443/v?timeout=10s\": no endpoints available for service \"hook\"".into(),
                "the cluster takes no such object while its webhook v.example.com does not answer at hook.infra.svc:443: no endpoints available for service \"hook\": see that the webhook's pods run, or remove its configuration".into(),
            ),
            (
                format!("quantities must match the regular expression {rule}"),
                format!("quantities must match the regular expression {rule}: write a quantity as 500m, 0.5, 128Mi or 1Gi"),
            ),
            (
                "namespaces \"shop\" not found".into(),
                "namespaces \"shop\" not found: make it, or add a Namespace to the objects".into(),
            ),
        ] {
            assert_eq!(plainly(&words), Some(plain));
        }
        for (words, hint) in [
            ("ConfigMap \"big\" is invalid: []: Too long: may not be more than 1048576 bytes", "divide it"),
            ("metadata.annotations: Too long: may not be more than 262144 bytes", "divide it"),
            ("etcdserver: request is too large", "divide it"),
            (
                "pods \"a\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2",
                "raise that",
            ),
            ("pods \"a\" is forbidden: failed quota: small: must specify limits.cpu for: web", "LimitRange"),
            (
                "configmaps \"a\" is forbidden: User \"system:serviceaccount:a:b\" cannot patch resource \"configmaps\"",
                "Role",
            ),
            ("pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\"", "kubeconfig"),
            ("the server could not find the requested resource", "no such kind"),
        ] {
            assert!(plainly(words).is_some_and(|plain| plain.starts_with(words) && plain.contains(hint)), "{words}");
        }
    }

    #[test]
    fn words_that_are_plain_stay() {
        for words in [
            "Service \"a\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated",
            "admission webhook \"v.example.com\" denied the request: host is taken",
            "Deployment.apps \"web\" is invalid: spec.selector: Invalid value: {}: field is immutable",
            "unable to create new content in namespace shop because it is being terminated",
            "failed to create typed patch object (shop/web; v1, Kind=ConfigMap): something else",
        ] {
            assert_eq!(plainly(words), None);
        }
    }

    #[test]
    fn a_field_is_told_without_its_value() {
        let secret = "failed to create typed patch object (a/b; v1, Kind=Secret): .stringData.word: expected string, got &value.valueUnstructured{Value:31337}";
        assert_eq!(mistyped_fields(secret).as_deref(), Some("stringData.word must be a text: quote it"));
        let mapping = secret.replace("31337", "map[string]interface {}{\"a\":\"hunter2\"}");
        assert_eq!(mistyped_fields(&mapping).as_deref(), Some("stringData.word must be a text"));
        assert_eq!(mistyped_fields("hunter2"), None);
        let encoded = "failed to convert new object (a/b; /v1, Kind=Secret) to proper version: unable to convert unstructured object to /v1, \
                       Kind=Secret: error decoding from json: illegal base64 data at input byte 7";
        let told = malformed_fields(encoded);
        assert!(told.as_deref().is_some_and(|told| told.contains("is not base64: encode it")), "{told:?}");
        assert_eq!(plainly(encoded), told);
    }
}
