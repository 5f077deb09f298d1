public class Handler {
    /** Answers a call. May also return a Response: new Response(404, "no such book"). */
    public static String handle(Request request) {
        String body = request.text();
        return "Hello, " + (body.isEmpty() ? "world" : body) + "!";
    }
}
