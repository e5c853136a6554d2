// Asking a person for a key, when the server wants one.
import { keep } from "./api.js";

/** Shows the dialog until there is a key to try. */
export function askPerson(reason) {
  const dialog = document.getElementById("key");
  const input = document.getElementById("key-text");
  document.getElementById("key-reason").textContent = reason ?? "";
  input.value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => {
      keep(input.value.trim());
      resolve();
    }, { once: true });
  });
}
