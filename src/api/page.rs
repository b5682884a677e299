//! Lists in pages: `limit` items after a `cursor`. A cursor is a position in the order of the list, so that it stays good
//! while items come and go: nothing is told twice, and nothing that stays is left out.

use serde::{Deserialize, Serialize};

use super::problem::invalid;
use super::types::Problem;
use crate::domain::id::UnitId;

/// The most items of a page.
pub const MOST: u32 = 1000;
/// The largest number that is taken: larger ones do not survive programs that read JSON's numbers as floating point.
pub const LARGEST_NUMBER: u64 = 9_007_199_254_740_991;
/// The items of a page where nothing is asked for.
const USUAL: u32 = 100;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items in the order of the list.
    pub items: Vec<T>,
    /// The cursor of the next page; none: this is the last.
    pub next: Option<String>,
}

/// Which page is asked for.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// At most so many items.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<u32>,
    /// `next` of the page before. Opaque.
    #[param(pattern = "^([0-9a-f]{2})+$", max_length = 1024)]
    pub cursor: Option<String>,
}

/// A place in a list: so many items after a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The key of the last item that was told.
    pub after: Option<Vec<u8>>,
    /// So many items.
    pub limit: usize,
}

impl TryFrom<PageQuery> for Position {
    type Error = Problem;

    fn try_from(query: PageQuery) -> Result<Self, Problem> {
        let limit = query.limit.unwrap_or(USUAL);
        if limit == 0 || limit > MOST {
            return Err(invalid(format!("limit is {limit}: ask for 1 to {MOST} items")));
        }
        let after = match query.cursor {
            None => None,
            Some(cursor) if cursor.is_empty() || cursor.len() > 1024 => {
                return Err(invalid("this is no cursor: use `next` of the page before"));
            }
            Some(cursor) if cursor.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                return Err(invalid("this is no cursor: use `next` of the page before as it is"));
            }
            Some(cursor) => Some(hex::decode(cursor).map_err(|_| invalid("this is no cursor: use `next` as it is"))?),
        };
        Ok(Position { after, limit: limit as usize })
    }
}

/// The cursor of a key.
pub fn cursor(key: &[u8]) -> String {
    hex::encode(key)
}

/// The key of a unit: in the order of units, since no name has a byte below `-`.
pub fn unit_key(unit: &UnitId) -> Vec<u8> {
    format!("{}\0{}\0{}", unit.app, unit.environment, unit.target).into_bytes()
}

impl Position {
    /// The page at this place of a list in ascending order of its keys.
    pub fn page<T>(&self, sorted: impl IntoIterator<Item = T>, key: impl Fn(&T) -> Vec<u8>) -> Page<T> {
        self.cut(sorted.into_iter().filter(|item| self.after.as_ref().is_none_or(|after| key(item) > *after)), &key)
    }

    /// The page at this place of a list in descending order of its keys.
    pub fn page_down<T>(&self, sorted: impl IntoIterator<Item = T>, key: impl Fn(&T) -> Vec<u8>) -> Page<T> {
        self.cut(sorted.into_iter().filter(|item| self.after.as_ref().is_none_or(|after| key(item) < *after)), &key)
    }

    fn cut<T>(&self, rest: impl Iterator<Item = T>, key: &impl Fn(&T) -> Vec<u8>) -> Page<T> {
        let mut items: Vec<T> = rest.take(self.limit + 1).collect();
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let next = items.last().filter(|_| more).map(|last| cursor(&key(last)));
        Page { items, next }
    }
}

impl<T> Page<T> {
    /// The same page of something made from each item.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(make).collect(), next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(limit: u32, cursor: Option<String>) -> Position {
        PageQuery { limit: Some(limit), cursor }.try_into().unwrap()
    }

    fn key(item: &u8) -> Vec<u8> {
        vec![*item]
    }

    #[test]
    fn pages_tell_everything_once_though_items_come_and_go() {
        let mut list: Vec<u8> = vec![10, 20, 30, 40, 50];
        let first = position(2, None).page(list.clone(), key);
        assert_eq!(first.items, [10, 20]);
        list.retain(|item| *item != 20);
        list.insert(0, 5);
        list.insert(2, 25);
        let second = position(2, first.next).page(list.clone(), key);
        assert_eq!(second.items, [25, 30]);
        let third = position(2, second.next).page(list, key);
        assert_eq!((third.items, third.next), (vec![40, 50], None));
    }

    #[test]
    fn a_list_may_go_down() {
        let first = position(2, None).page_down([30, 20, 10], key);
        let second = position(2, first.next).page_down([40, 30, 20, 10], key);
        assert_eq!((first.items, second.items), (vec![30, 20], vec![10]));
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for (limit, cursor) in
            [(Some(0), None), (Some(1001), None), (None, Some("xyz")), (None, Some("")), (None, Some("AB"))]
        {
            let query = PageQuery { limit, cursor: cursor.map(str::to_owned) };
            assert_eq!(Position::try_from(query).unwrap_err().status, 400);
        }
    }

    #[test]
    fn the_order_of_keys_is_the_order_of_units() {
        let mut units: Vec<UnitId> =
            ["a/x/t", "a-b/x/t", "a/x-y/t", "a/x/t-1"].into_iter().map(|unit| unit.parse().unwrap()).collect();
        units.sort();
        let keys: Vec<_> = units.iter().map(unit_key).collect();
        assert!(keys.is_sorted());
    }
}
