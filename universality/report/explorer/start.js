addEventListener("hashchange", route);
route();
