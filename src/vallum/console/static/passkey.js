// Passkeys: asks the server for a challenge, the device for a signature, and puts the answer into the page's form.
// The forms carry everything to the server; nothing is decided here.
const problem = document.getElementById("passkey-problem");
const say = (text) => { if (problem) problem.textContent = text; };

async function challengeFrom(url, form) {
  const csrf = form.querySelector("input[name=csrf]");
  const body = new URLSearchParams(csrf ? { csrf: csrf.value } : {});
  const answer = await fetch(url, { method: "POST", body, credentials: "same-origin" });
  const found = await answer.json();
  if (!answer.ok) {
    const stepUp = (found.obligations || []).includes("step_up");
    throw new Error(stepUp ? "Prove your second factor first, at the top of this page." : found.detail);
  }
  return found;
}

async function use(form) {
  const { public_key, state } = await challengeFrom(form.dataset.passkey, form);
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(public_key);
  const signed = await navigator.credentials.get({ publicKey });
  form.elements.state.value = state;
  form.elements.response.value = JSON.stringify(signed.toJSON());
  form.submit();
}

async function create(form) {
  if (!form.reportValidity()) return;
  const { public_key, state } = await challengeFrom(form.dataset.newPasskey, form);
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(public_key);
  const created = await navigator.credentials.create({ publicKey });
  form.elements.created_state.value = state;
  form.elements.created.value = JSON.stringify(created.toJSON());
  form.submit();
}

const on = (selector, work) => {
  for (const button of document.querySelectorAll(selector)) {
    if (!window.PublicKeyCredential) { button.disabled = true; continue; }
    button.addEventListener("click", () => work(button.form).catch((error) => say(error.message)));
  }
};
on("[data-use-passkey]", use);
on("[data-create-passkey]", create);
