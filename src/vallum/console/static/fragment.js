// The enrolment token rides in the URL's fragment, which browsers never send: take it from there into the form.
const field = document.querySelector("input[name=token]");
if (field && location.hash.length > 1) {
  field.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}
