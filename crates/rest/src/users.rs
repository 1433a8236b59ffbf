//! The users: an object from id to name, in the order they were added.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use common::{Error, ko_en};
use hyper::StatusCode;
use serde_json::json;

/// Users that fit; a server that keeps whatever it is given runs out of memory one day.
const MAX_USERS: usize = 10_000;

/// The longest list, as JSON in bytes: whoever changes a user is sent all of it.
const MAX_LIST: usize = 1024 * 1024;

/// All users. They live as long as the process: no file, no database yet.
#[derive(Default)]
pub struct Users(Mutex<List>);

#[derive(Default)]
struct List {
    // Ids only grow, so their order is the order in which users were added.
    names: BTreeMap<u64, String>,
    last_id: u64,
    /// The length of the list as JSON, in bytes.
    size: usize,
    /// The whole list as JSON, made by the first answer after a change and shared by all
    /// answers until the next change.
    json: Option<Bytes>,
}

impl Users {
    /// Adds a user and returns its id: the time in ms, or one more than the last id where
    /// that is not later. An id is never given out twice.
    ///
    /// # Errors
    /// 507 when there are 10,000 users, or the list would be longer than 1 MiB.
    pub fn add(&self, name: String) -> Result<u64, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut list = self.lock();
        let id = (now.as_millis() as u64).max(list.last_id + 1);
        let size = list.size + size(id, &name);
        if list.names.len() >= MAX_USERS || size > MAX_LIST {
            return Err(full());
        }
        (list.last_id, list.size) = (id, size);
        list.names.insert(id, name);
        list.json = None;
        Ok(id)
    }

    /// One user as JSON: `{"name":"Annie"}`.
    ///
    /// # Errors
    /// 404 for an id that is not there.
    pub fn one(&self, id: u64) -> Result<String, Error> {
        let list = self.lock();
        let name = list.names.get(&id).ok_or_else(Error::not_found)?;
        Ok(json!({ "name": name }).to_string())
    }

    /// All users as JSON: `{"1690000000000":"Annie"}`.
    pub fn all(&self) -> Bytes {
        self.lock().json()
    }

    /// Gives a user another name and returns all users as JSON.
    ///
    /// # Errors
    /// 404 for an id that is not there; 507 when the list would be longer than 1 MiB.
    pub fn rename(&self, id: u64, name: String) -> Result<Bytes, Error> {
        let mut list = self.lock();
        let old = list.names.get(&id).ok_or_else(Error::not_found)?;
        let size = list.size - size(id, old) + size(id, &name);
        if size > MAX_LIST {
            return Err(full());
        }
        list.size = size;
        list.names.insert(id, name);
        list.json = None;
        Ok(list.json())
    }

    /// Removes a user and returns those who are left as JSON.
    ///
    /// # Errors
    /// 404 for an id that is not there.
    pub fn remove(&self, id: u64) -> Result<Bytes, Error> {
        let mut list = self.lock();
        let name = list.names.remove(&id).ok_or_else(Error::not_found)?;
        list.size -= size(id, &name);
        list.json = None;
        Ok(list.json())
    }

    // Every change is whole before the lock is released, so a panic leaves none half done.
    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn json(&mut self) -> Bytes {
        let Self { names, json, .. } = self;
        // A map from numbers to strings always is some JSON.
        let bytes = || serde_json::to_vec(names).unwrap_or_default().into();
        json.get_or_insert_with(bytes).clone()
    }
}

/// What one user adds to the list, in bytes: `"1690000000000":"Annie",`.
fn size(id: u64, name: &str) -> usize {
    let digits = id.checked_ilog10().unwrap_or(0) as usize + 1;
    let name = serde_json::to_vec(name).unwrap_or_default(); // `\n` is two bytes there
    r#""":,"#.len() + digits + name.len()
}

fn full() -> Error {
    Error::new(
        StatusCode::INSUFFICIENT_STORAGE,
        ko_en!(
            "사용자는 {MAX_USERS}명, 목록은 {MAX_LIST}바이트까지입니다.",
            "There may be {MAX_USERS} users, and {MAX_LIST} bytes of them."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_never_given_out_twice_and_keep_the_order() {
        let users = Users::default();
        let ids: Vec<u64> =
            (0..1000).map(|n| users.add(format!("{n}")).unwrap()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        users.remove(ids[999]).unwrap();
        assert!(users.add("next".into()).unwrap() > ids[999]);
        let all = users.all();
        let names: Vec<&str> = std::str::from_utf8(&all).unwrap().split(',').collect();
        assert_eq!(names.len(), 1000);
        assert!(names[0].ends_with(":\"0\"") && names[999].contains("next"));
    }

    #[test]
    fn the_list_is_serialised_once_for_each_change() {
        let users = Users::default();
        let id = users.add("Annie".into()).unwrap();
        assert!(users.0.lock().unwrap().json.is_none(), "adding serialises nothing");
        let (first, second) = (users.all(), users.all());
        assert_eq!(first.as_ptr(), second.as_ptr(), "the same bytes for every answer");
        assert_eq!(
            users.rename(id, "Bob".into()).unwrap(),
            format!("{{\"{id}\":\"Bob\"}}")
        );
        assert_eq!(users.remove(id).unwrap(), "{}");
    }

    #[test]
    fn a_list_over_1_mib_is_refused_and_nothing_is_lost() {
        let users = Users::default();
        let long = "\u{1}".repeat(100); // 600 bytes as JSON
        let ids: Vec<u64> = std::iter::from_fn(|| users.add(long.clone()).ok()).collect();
        let list = users.all();
        let counted = || users.lock().size;
        assert_eq!(counted(), list.len() - 1, "all but a brace");
        assert!((MAX_LIST - 700..=MAX_LIST).contains(&list.len()), "{}", list.len());
        users.rename(ids[0], "a".into()).unwrap();
        users.rename(ids[0], long.clone()).unwrap();
        users.add("x".repeat(MAX_LIST - list.len() - 18)).unwrap();
        assert_eq!(users.add("a".into()).unwrap_err().status, 507);
        assert_eq!(users.rename(ids[0], long.clone() + "aa").unwrap_err().status, 507);
        assert_eq!(users.one(ids[0]).unwrap(), json!({ "name": long }).to_string());
        ids.iter().take(9).for_each(|id| _ = users.remove(*id).unwrap());
        assert_eq!(counted(), users.all().len() - 1);
    }

    #[test]
    fn the_10_001st_is_refused_and_nothing_is_lost() {
        let users = Users::default();
        for n in 0..MAX_USERS {
            users.add(n.to_string()).unwrap();
        }
        let before = users.all();
        let error = users.add("one too many".into()).unwrap_err();
        assert_eq!(error.status, StatusCode::INSUFFICIENT_STORAGE);
        assert_eq!(users.all(), before);
    }
}
