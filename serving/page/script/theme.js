// The theme, chosen before anything is drawn: what was picked here before, else what the system prefers.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const picked = () => {
    try { return localStorage.getItem("seam-theme"); } catch { return null; }
  };
  const apply = () => {
    document.documentElement.dataset.theme = picked() ?? (system.matches ? "dark" : "light");
    document.dispatchEvent(new CustomEvent("theme"));
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => {
      const next = document.documentElement.dataset.theme === "dark" ? "Light" : "Dark";
      button.textContent = next;
      button.setAttribute("aria-label", `${next} theme`);
    };
    button.addEventListener("click", () => {
      const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("seam-theme", next); } catch { /* it lasts as long as the page */ }
      document.documentElement.dataset.theme = next;
      document.dispatchEvent(new CustomEvent("theme"));
    });
    document.addEventListener("theme", name);
    name();
  });
})();
