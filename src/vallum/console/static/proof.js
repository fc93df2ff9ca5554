// Checks an entry's inclusion proof and its checkpoint's signature here, in the reader's browser, with WebCrypto:
// RFC 6962 hashing, RFC 9162 section 2.1.3.2, and C2SP signed notes. The server supplies the data, not the verdict.
const panel = document.getElementById("proof");
const encoder = new TextEncoder();

const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const base64Of = (bytes) => btoa(String.fromCharCode(...bytes));
const joined = (...parts) => {
  const whole = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
};
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
const leafHash = (entry) => sha256(joined(Uint8Array.of(0), entry));
const nodeHash = (left, right) => sha256(joined(Uint8Array.of(1), left, right));

async function rootFromInclusion(leaf, index, size, path) {
  let fn = BigInt(index), sn = BigInt(size) - 1n, root = leaf;
  for (const sibling of path) {
    if (sn === 0n) throw new Error("the path is too long for this tree");
    if (fn & 1n || fn === sn) {
      root = await nodeHash(sibling, root);
      while (!(fn & 1n) && fn !== 0n) { fn >>= 1n; sn >>= 1n; }
    } else {
      root = await nodeHash(root, sibling);
    }
    fn >>= 1n; sn >>= 1n;
  }
  if (sn !== 0n) throw new Error("the path is too short for this tree");
  return root;
}

async function signedBy(note, verifierKey) {
  const [, , encodedKey] = verifierKey.split("+").length > 3 ? splitKey(verifierKey) : verifierKey.split("+");
  const raw = bytesOf(encodedKey).slice(1);
  const key = await crypto.subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
  const name = verifierKey.slice(0, verifierKey.indexOf("+"));
  const cut = note.lastIndexOf("\n\n");
  const text = encoder.encode(note.slice(0, cut + 1));
  for (const line of note.slice(cut + 2).split("\n")) {
    if (!line.startsWith(`\u2014 ${name} `)) continue;
    const signature = bytesOf(line.slice(line.lastIndexOf(" ") + 1)).slice(4);
    if (await crypto.subtle.verify({ name: "Ed25519" }, key, signature, text)) return true;
  }
  return false;
}

// A base64 key may itself hold "+": only the first two separate.
function splitKey(verifierKey) {
  const first = verifierKey.indexOf("+"), second = verifierKey.indexOf("+", first + 1);
  return [verifierKey.slice(0, first), verifierKey.slice(first + 1, second), verifierKey.slice(second + 1)];
}

function show(kind, text) {
  const line = document.createElement("p");
  const tag = document.createElement("span");
  tag.className = `tag ${kind}`;
  tag.textContent = kind;
  line.append(tag, ` ${text}`);
  panel.append(line);
}

async function check() {
  const answer = await fetch(panel.dataset.url, { headers: { accept: "application/json" } });
  if (answer.status === 409) return show("pending", "the entry is durable and waits for the next checkpoint; reload in a moment");
  if (!answer.ok) return show("failed", "the proof could not be fetched");
  const proof = await answer.json();
  document.getElementById("leaf").textContent = proof.leaf;
  const leaf = await leafHash(encoder.encode(proof.leaf));
  const root = await rootFromInclusion(leaf, proof.index, proof.size, proof.path.map(bytesOf));
  const [origin, size, head] = proof.checkpoint.split("\n");
  if (Number(size) !== proof.size || base64Of(root) !== head) {
    return show("failed", "the entry is not in the tree that the checkpoint names");
  }
  show("verified", `entry ${proof.index} is in the tree of ${size} entries with root ${head}`);
  try {
    const good = await signedBy(proof.checkpoint, proof.verifier_key);
    show(good ? "verified" : "failed", good ? `the checkpoint is signed by ${origin}` : "the checkpoint's signature is wrong");
  } catch {
    show("warn", "this browser has no Ed25519: check the signature with `vallum ledger verify`");
  }
}

if (panel) check().catch((error) => show("failed", error.message));
