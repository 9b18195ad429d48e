// A plain script: browsers refuse modules in a page that was opened as a file, and someone has to say so.
if (location.protocol === "file:") {
  document.addEventListener("DOMContentLoaded", () => {
    const notice = document.getElementById("notice");
    notice.hidden = false;
    notice.textContent =
      "This page was opened as a file, and browsers load no programs from files. Serve its folder instead: " +
      "python -m http.server, then open http://localhost:8000";
    document.getElementById("choose").disabled = true;
    document.getElementById("camera").disabled = true;
  });
}
