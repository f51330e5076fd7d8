"""Looking at functions and programs: jaxprs, shapes, scopes, profiles, where values cease to be finite."""
