"use strict";
// Every text of the page stands there twice, as lang="ko" and as lang="en"; the style sheet
// hides the one that is not in the language of <html>. This file sets that language: to what
// was chosen by the buttons in #language, else to what the browser asks for.

/** A text in both languages, to append or to replace children with. */
function both(ko, en) {
  const texts = document.createDocumentFragment();
  for (const [lang, text] of [["ko", ko], ["en", en]]) {
    const span = document.createElement("span");
    span.lang = lang;
    span.textContent = text;
    texts.append(span);
  }
  return texts;
}

/** Korean for who prefers it to English, English for everyone else. */
function preferredLanguage() {
  const languages = [storage?.getItem("language"), ...navigator.languages];
  const known = languages.map((tag) => tag?.split("-")[0]);
  return known.find((language) => language === "ko" || language === "en") ?? "en";
}

function setLanguage(language) {
  document.documentElement.lang = language;
  document.title = document.querySelector("title").dataset[language];
  for (const button of document.querySelectorAll("#language button")) {
    button.setAttribute("aria-pressed", button.lang === language);
  }
}

function chooseLanguage(language) {
  setLanguage(language);
  storage?.setItem("language", language);
}

let storage;
try {
  storage = localStorage;
} catch {
  // The browser forbids it: the choice lasts as long as the page.
}

document.addEventListener("click", ({ target }) => {
  if (target.matches("#language button")) chooseLanguage(target.lang);
});
document.addEventListener("DOMContentLoaded", () => setLanguage(document.documentElement.lang));
setLanguage(preferredLanguage()); // before the page is drawn
