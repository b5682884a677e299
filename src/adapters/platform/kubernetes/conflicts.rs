//! Fields that others have and that shall be something else: what a server says of them, and what is done about it.

use std::collections::BTreeSet;

use super::fields::Owner;

/// A field that somebody else has and that shall be something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who.
    pub owner: Owner,
    /// Which field, as the server writes it.
    pub field: String,
}

/// What a server's word for a conflict says: `conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas`.
pub fn conflict(message: &str, field: &str) -> Option<Conflict> {
    let rest = message.strip_prefix("conflict with \"")?;
    let (manager, rest) = rest.split_once('"')?;
    let scope = rest.split_once("with subresource \"").and_then(|(_, rest)| rest.split_once('"'));
    let owner = Owner {
        manager: manager.to_owned(),
        // Only who edits is told with the version that was used.
        applies: !rest.contains(" using "),
        subresource: scope.map(|(scope, _)| scope.to_owned()),
    };
    Some(Conflict { owner, field: field.to_owned() })
}

/// What is done about conflicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The fields are taken: they are ours and somebody edited them, or it was consented to.
    Take,
    /// These fields are left to who has them.
    Leave(Vec<String>),
    /// Nothing is done; why, for people.
    Refuse(String),
}

/// Decides over conflicts. `ours`: the object was applied by this unit before, and drift is healed. `ignored` are managers whose
/// fields are left to them.
pub fn settle(conflicts: &[Conflict], ours: bool, consent: bool, ignored: &dyn Fn(&Owner) -> bool) -> Settlement {
    let leave = |conflict: &Conflict| conflict.owner.scales() || ignored(&conflict.owner);
    let theirs: Vec<&Conflict> = conflicts.iter().filter(|conflict| leave(conflict)).collect();
    if !theirs.is_empty() {
        return Settlement::Leave(theirs.into_iter().map(|conflict| conflict.field.clone()).collect());
    }
    let edited = !conflicts.is_empty() && conflicts.iter().all(|conflict| !conflict.owner.applies);
    if consent || (ours && edited) {
        return Settlement::Take;
    }
    let one = |conflict: &Conflict| format!("{} has {}", conflict.owner.manager, conflict.field);
    let all: BTreeSet<String> = conflicts.iter().map(one).collect();
    let all: Vec<String> = all.into_iter().collect();
    Settlement::Refuse(format!(
        "{}: let it go there, leave the field out here, name it under `ignore`, or take it with `adopt: true`",
        all.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: fn(&Owner) -> bool = |_| false;

    #[test]
    fn who_edits_is_known_from_who_applies() {
        let edits = "conflict with \"kubectl-edit\" using apps/v1 at 2026-01-01T00:00:00Z";
        let edits = conflict(edits, ".spec.replicas").expect("it is one");
        assert!(!edits.owner.applies && edits.owner.subresource.is_none());
        let scales = "conflict with \"kube-controller-manager\" with subresource \"scale\" using apps/v1";
        assert!(conflict(scales, ".spec.replicas").expect("it is one").owner.scales());
        let applies = conflict("conflict with \"helm\"", ".data.a").expect("it is one");
        assert!(applies.owner.applies);
        assert_eq!(conflict("something else", ".data"), None);
    }

    #[test]
    fn nothing_is_taken_without_consent_but_what_was_edited() {
        let by = |manager: &str, applies, subresource: Option<&str>| Conflict {
            owner: Owner { manager: manager.into(), applies, subresource: subresource.map(str::to_owned) },
            field: ".spec.replicas".into(),
        };
        let edit = [by("kubectl-edit", false, None)];
        let tool = [by("helm", true, None)];
        let scaler = [by("kube-controller-manager", false, Some("scale"))];
        assert_eq!(settle(&edit, true, false, &NOBODY), Settlement::Take);
        assert!(
            matches!(settle(&edit, false, false, &NOBODY), Settlement::Refuse(why) if why.contains("kubectl-edit"))
        );
        assert!(
            matches!(settle(&tool, true, false, &NOBODY), Settlement::Refuse(why) if why.contains("helm has .spec.replicas"))
        );
        assert_eq!(settle(&tool, false, true, &NOBODY), Settlement::Take);
        assert_eq!(settle(&scaler, true, true, &NOBODY), Settlement::Leave(vec![".spec.replicas".into()]));
        assert_eq!(
            settle(&tool, true, false, &|owner| owner.manager == "helm"),
            Settlement::Leave(vec![".spec.replicas".into()])
        );
    }
}
