// What tools ask through PostgreSQL's driver for Java: its metadata, parameters of each type, cursors, timeouts.
import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;

public class Driver {
  static String rows(ResultSet of, String... columns) throws SQLException {
    List<String> rows = new ArrayList<>();
    while (of.next()) {
      List<String> cells = new ArrayList<>();
      for (String column : columns) cells.add(of.getString(column));
      rows.add(String.join("|", cells));
    }
    return String.join("\n", rows);
  }

  static void same(Object expected, Object found) {
    if (!Objects.equals(expected, found)) throw new AssertionError("expected " + expected + ", found " + found);
  }

  static void metadata(Connection to) throws SQLException {
    DatabaseMetaData about = to.getMetaData();
    same("by_carrier|TABLE\nseam_pipeline|TABLE", rows(about.getTables("air", "public", "%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME", "TABLE_TYPE"));
    same("", rows(about.getTables(null, "public", "by-%", null), "TABLE_NAME"));
    same("fare_count|int8|19|0\nfare_sum|numeric|38|2\nfare_avg|float8|17|17\nfare_min|numeric|38|2\nfare_max|numeric|38|2",
        rows(about.getColumns(null, "public", "by\\_carrier", "fare%"), "COLUMN_NAME", "TYPE_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS"));
    same("information_schema\npg_catalog\npublic", rows(about.getSchemas(), "TABLE_SCHEM"));
    same("air", rows(about.getCatalogs(), "TABLE_CAT"));
    same(true, rows(about.getTypeInfo(), "TYPE_NAME").contains("timestamptz"));
    same("", rows(about.getPrimaryKeys(null, "public", "by_carrier"), "COLUMN_NAME"));
    same("", rows(about.getImportedKeys(null, "public", "by_carrier"), "FKCOLUMN_NAME"));
    same("", rows(about.getIndexInfo(null, "public", "by_carrier", false, true), "INDEX_NAME"));
    same("SELECT", rows(about.getTablePrivileges(null, "public", "by_carrier"), "PRIVILEGE"));
    same(63, about.getMaxColumnNameLength());
    about.getSQLKeywords();
  }

  static void parameters(Connection to) throws SQLException {
    String query = "SELECT count(*), min(time) FROM by_carrier WHERE carrier = ? AND time > ? AND time < ? AND flights >= ? AND fare_sum > ?"
        + " AND delay_sum > ? AND (flights > 0) = ? AND carrier = ANY (?) AND flights <> ALL (?) AND time::date = ? AND ? IS NOT NULL LIMIT ?";
    try (PreparedStatement of = to.prepareStatement(query)) {
      long first = -1;
      for (int i = 0; i < 8; i++) { // the driver prepares what is asked often, and reads it in binary then
        of.setString(1, "UA");
        of.setObject(2, OffsetDateTime.parse("2026-01-01T00:30:00Z"));
        of.setTimestamp(3, Timestamp.from(Instant.parse("2026-01-01T01:30:00Z")));
        of.setInt(4, 1);
        of.setBigDecimal(5, new BigDecimal("-10000.25"));
        of.setDouble(6, 0.25);
        of.setBoolean(7, true);
        of.setArray(8, to.createArrayOf("text", new String[] {"UA", "AA"}));
        of.setArray(9, to.createArrayOf("int8", new Long[] {1000L, 2000L}));
        of.setObject(10, LocalDate.parse("2026-01-01"));
        of.setString(11, "x");
        of.setLong(12, 5);
        try (ResultSet answer = of.executeQuery()) {
          answer.next();
          if (i == 0) first = answer.getLong(1);
          same(first, answer.getLong(1));
          same(Instant.parse("2026-01-01T00:31:00Z"), answer.getTimestamp(2).toInstant());
        }
      }
      same(true, first > 20);
      same(12, of.getParameterMetaData().getParameterCount());
    }
  }

  static void cursors(Connection to) throws SQLException {
    to.setAutoCommit(false);
    try (Statement of = to.createStatement()) {
      of.setFetchSize(50);
      long sum = 0;
      try (ResultSet answer = of.executeQuery("SELECT flights FROM by_carrier")) {
        while (answer.next()) sum += answer.getLong(1);
      }
      same(3000L, sum);
    }
    to.commit();
    to.setAutoCommit(true);
    for (String asked : new String[] {"SELECT pg_sleep(20)|57014", "SELECT 1 / 0|22012", "SELECT nothing FROM by_carrier|42703"}) {
      try (Statement of = to.createStatement()) {
        of.setQueryTimeout(1);
        of.executeQuery(asked.split("\\|")[0]);
        throw new AssertionError("no error: " + asked);
      } catch (SQLException refused) {
        same(asked.split("\\|")[1], refused.getSQLState());
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    for (String mode : new String[] {"extended", "simple"}) {
      Properties login = new Properties();
      login.put("user", "reader");
      login.put("password", "open sesame");
      login.put("preferQueryMode", mode);
      try (Connection to = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + arguments[0] + "/air", login)) {
        metadata(to);
        parameters(to);
        cursors(to);
      }
    }
    System.out.println("all well");
  }
}
